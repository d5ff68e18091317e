"""What errors of S3, of servers like it, and of its SDK mean, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.exceptions as sdk

from keepsake.exceptions import DoesNotExist, MissingBucket, PreconditionFailed, RepositoryConfigurationError
from keepsake.storage.bucket import Trouble, one_line

# Codes of a condition that conflicts with another request, of one that does not hold, and of objects that are missing.
CONFLICT = "ConditionalRequestConflict"
FAILED = ("PreconditionFailed", "412")
MISSING = ("NoSuchKey", "404")
# Codes by which servers say that they do not support a request, or a part of it.
UNSUPPORTED = ["405", "501", "NotImplemented", "MethodNotAllowed", "NotSupported"]
UNSUPPORTED += ["InvalidRequest", "InvalidArgument", "MalformedXML", "MissingContentMD5", "UnsupportedOperation"]

LOG_IN = (
    "The credentials are missing, wrong or expired. Log in (`aws sso login`, `aws configure`), or set AWS_PROFILE, or "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_REGION = "Set AWS_REGION to the region of the bucket."
# Advice, with the codes of servers and the errors of the SDK that it answers.
_ADVICE = {
    _REGION: (
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
    "The server gives no reason. Usually the credentials have expired, so log in again. Or AWS_REGION "
    "is not the region of the bucket.": "400",
    "This machine's clock is wrong by more than 15 minutes. Set it and try again.": (
        "RequestTimeTooSkewed RequestExpired RequestInTheFuture"
    ),
    "Check the spelling of the bucket's name. The first experiment creates a missing bucket.": (
        "NoSuchBucket InvalidBucketName ParamValidationError"
    ),
    "The server wants the bucket's name in the host's name. Set `addressing_style = virtual` below `s3 =` in "
    "~/.aws/config.": "SecondLevelDomainForbidden PathStyleDomainForbidden",
    "The server's certificate is not trusted. For a private one, set AWS_CA_BUNDLE to the file with it.": "SSLError",
    "The server does not speak HTTPS. Begin the endpoint, AWS_ENDPOINT_URL or endpoint_url in ~/.aws/config, with "
    "http://.": "PlainServer",
    "Check the proxy that HTTPS_PROXY or HTTP_PROXY names.": "ProxyConnectionError",
    "Write the endpoint, AWS_ENDPOINT_URL or endpoint_url in ~/.aws/config, with its scheme: http://localhost:9000.": (
        "InvalidEndpoint EndpointProviderError"
    ),
}
ADVICE_AFTER = {name: advice for advice, names in _ADVICE.items() for name in names.split()}


def code_of(error: sdk.ClientError) -> str:
    """Return the code of a server's refusal, or the HTTP status if there is no code."""
    return str(error.response.get("Error", {}).get("Code") or error.response["ResponseMetadata"]["HTTPStatusCode"])


@contextmanager
def allowing(*codes: str) -> Iterator[None]:
    """Ignore a refusal with one of these codes."""
    try:
        yield
    except sdk.ClientError as error:
        if code_of(error) not in codes:
            raise


def trouble_of(error: Exception) -> Trouble | None:
    """Return what an error means; None if it is not understood."""
    if isinstance(error, sdk.ClientError):
        return _refusal(error)
    # The SDK follows each redirection, until it has called itself too often. Some of its calls wrap that error.
    if isinstance(error, RecursionError) or isinstance(error.__context__, RecursionError):
        return Trouble("The server redirects without end", _REGION, RepositoryConfigurationError)
    if "Invalid header value" in str(error):  # the rest of the text is the value, which may be secret
        reason = "The access key or the session token contains a line break"
        return Trouble(reason, LOG_IN, RepositoryConfigurationError)
    if isinstance(error, OSError) and error.filename is not None:  # of a token, as Kubernetes gives it to a pod
        reason = f"The file {error.filename} cannot be read: {error.strerror}"
        return Trouble(reason, LOG_IN, RepositoryConfigurationError)
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, ValueError) and "Invalid endpoint" in str(error):
        names.append("InvalidEndpoint")
    if "WRONG_VERSION_NUMBER" in str(error):
        names.insert(0, "PlainServer")
    advice = next((ADVICE_AFTER[name] for name in names if name in ADVICE_AFTER), None)
    if advice or isinstance(error, sdk.BotoCoreError | OSError):
        return Trouble(one_line(str(error)), advice, RepositoryConfigurationError if advice else None)
    return None


def _refusal(error: sdk.ClientError) -> Trouble:
    """Return the meaning of a server's refusal."""
    code, details = code_of(error), error.response.get("Error", {})
    reason = f"{one_line(str(details.get('Message') or 'No reason given'))} ({code})"
    if code in MISSING:
        return Trouble(reason, None, DoesNotExist)
    if code in (*FAILED, CONFLICT):
        return Trouble(reason, None, PreconditionFailed)
    advice = ADVICE_AFTER.get(code)
    headers: Any = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if advice == _REGION and (region := details.get("Region") or headers.get("x-amz-bucket-region")):
        advice = f"The bucket is in another region. Set AWS_REGION={region}."
    kind = MissingBucket if code == "NoSuchBucket" else RepositoryConfigurationError if advice else None
    return Trouble(reason, advice, kind)
