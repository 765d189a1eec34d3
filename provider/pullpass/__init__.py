"""pullpass: a kubelet image credential provider that gives each workload its own short-lived registry credential.

Read these five modules first, in this order:

* `pullpass.pipeline`: one request from bytes to answer, as a straight line;
* `pullpass.policy`: which identity a service account gets for an image, or why not;
* `pullpass.exchange.plan`: what would be sent to the cloud, before anything is sent;
* `pullpass.exchange.aws`: sending it;
* `pullpass.errors`: every way to say no.
"""

__version__ = "0.1.0"
