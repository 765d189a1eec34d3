"""Registry hosts of every form and partition, with the endpoints of STS and ECR that belong to each.

Written out, so that the program's table is compared with names and not with itself.
"""

from __future__ import annotations

from factories import make_alias

# host of the image, STS, ECR
HOSTS = [
    (
        "111122223333.dkr.ecr.us-west-2.amazonaws.com",
        "https://sts.us-west-2.amazonaws.com",
        "https://api.ecr.us-west-2.amazonaws.com",
    ),
    (
        "111122223333.dkr.ecr-fips.us-west-2.amazonaws.com",
        "https://sts-fips.us-west-2.amazonaws.com",
        "https://api.ecr-fips.us-west-2.amazonaws.com",
    ),
    ("111122223333.dkr-ecr.us-west-2.on.aws", "https://sts.us-west-2.api.aws", "https://ecr.us-west-2.api.aws"),
    (
        "111122223333.dkr-ecr-fips.us-west-2.on.aws",
        "https://sts-fips.us-west-2.api.aws",
        "https://ecr-fips.us-west-2.api.aws",
    ),
    (
        "111122223333.vpce-0a1b2c-x1.dkr.ecr.us-west-2.vpce.amazonaws.com",
        "https://sts.us-west-2.amazonaws.com",
        "https://api.ecr.us-west-2.amazonaws.com",
    ),
    ("images.example.com", "https://sts.us-west-2.amazonaws.com", "https://api.ecr.us-west-2.amazonaws.com"),
    (
        "china.example.com:5000",
        "https://sts.cn-north-1.amazonaws.com.cn",
        "https://api.ecr.cn-north-1.amazonaws.com.cn",
    ),
    (
        "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "https://sts.cn-north-1.amazonaws.com.cn",
        "https://api.ecr.cn-north-1.amazonaws.com.cn",
    ),
    (
        "111122223333.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn",
        "https://sts.cn-northwest-1.api.amazonwebservices.com.cn",
        "https://ecr.cn-northwest-1.api.amazonwebservices.com.cn",
    ),
    (
        "111122223333.dkr.ecr.us-gov-west-1.amazonaws.com",
        "https://sts.us-gov-west-1.amazonaws.com",
        "https://api.ecr.us-gov-west-1.amazonaws.com",
    ),
    (
        "111122223333.dkr.ecr-fips.us-gov-east-1.amazonaws.com",
        "https://sts.us-gov-east-1.amazonaws.com",
        "https://api.ecr-fips.us-gov-east-1.amazonaws.com",
    ),
    (
        "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu",
        "https://sts.eusc-de-east-1.amazonaws.eu",
        "https://api.ecr.eusc-de-east-1.amazonaws.eu",
    ),
    (
        "111122223333.dkr.ecr.us-iso-east-1.c2s.ic.gov",
        "https://sts.us-iso-east-1.c2s.ic.gov",
        "https://api.ecr.us-iso-east-1.c2s.ic.gov",
    ),
    (
        "111122223333.dkr.ecr.us-isob-east-1.sc2s.sgov.gov",
        "https://sts.us-isob-east-1.sc2s.sgov.gov",
        "https://api.ecr.us-isob-east-1.sc2s.sgov.gov",
    ),
    (
        "111122223333.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk",
        "https://sts.eu-isoe-west-1.cloud.adc-e.uk",
        "https://api.ecr.eu-isoe-west-1.cloud.adc-e.uk",
    ),
    (
        "111122223333.dkr.ecr.us-isof-south-1.csp.hci.ic.gov",
        "https://sts.us-isof-south-1.csp.hci.ic.gov",
        "https://api.ecr.us-isof-south-1.csp.hci.ic.gov",
    ),
]
ALIASES = (make_alias(), make_alias(host="china.example.com:5000", region="cn-north-1"))
