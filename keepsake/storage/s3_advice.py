"""Advice on the errors of S3, of servers like it, and of its SDK."""

from __future__ import annotations

LOG_IN = (
    "The credentials are missing, wrong or expired. Log in (`aws sso login`, `aws configure`), or set AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
REGION = "Set AWS_REGION to the region of the bucket."
# Advice, with the codes of servers and the errors of the SDK that it answers.
_ADVICE = {
    REGION: (
        "301 PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException "
        "InvalidRegionError NoRegionError"
    ),
    "These credentials may not do that. They need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject below the repository's root.": "403 AccessDenied AllAccessDisabled Forbidden AccountProblem",
    LOG_IN: (
        "401 Unauthorized InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken ExpiredTokenException InvalidToken "
        "TokenRefreshRequired InvalidClientTokenId UnrecognizedClientException InvalidSecurity NoCredentialsError "
        "PartialCredentialsError CredentialRetrievalError TokenRetrievalError SSOError ProfileNotFound"
    ),
    "This machine's clock is wrong by more than 15 minutes. Set it and try again.": (
        "RequestTimeTooSkewed RequestExpired RequestInTheFuture"
    ),
    "Check the spelling of the bucket's name. The first experiment creates a missing bucket.": (
        "NoSuchBucket InvalidBucketName ParamValidationError"
    ),
    "The server wants the bucket's name in the host's name. Set `addressing_style = virtual` below `s3 =` in "
    "~/.aws/config.": "SecondLevelDomainForbidden PathStyleDomainForbidden",
    "The server's certificate is not trusted. For a private one, set AWS_CA_BUNDLE to the file with it.": "SSLError",
    "Check the proxy that HTTPS_PROXY or HTTP_PROXY names.": "ProxyConnectionError",
    "Write the endpoint, AWS_ENDPOINT_URL or endpoint_url in ~/.aws/config, with its scheme: http://localhost:9000.": (
        "InvalidEndpoint EndpointProviderError"
    ),
}
ADVICE_AFTER = {name: advice for advice, names in _ADVICE.items() for name in names.split()}
