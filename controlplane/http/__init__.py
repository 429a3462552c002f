"""The API over HTTP: a thin face of api.API, with Kubernetes' paths, bodies and answers.

    request --auth.py--> who? --target.py--> which object? --verbs.py--> api.API --encode.py--> answer
                                                           `--watching.py--> a stream of JSON lines
    StatusError --> Status object with its code; bad input is never a 500
    encode.py: JSON, YAML; protobuf.py: what kubectl's typed commands send
    discovery.py: which kinds there are; openapi.py, openapi_v2.py: their schemas; reviews.py: kubectl auth

`make_app` makes the application, `serve` answers on sockets that somebody else has opened (in whatever
namespace). What needs a kubelet (logs, exec, port-forward) is given to `make_app` as handlers of
subresources.
"""

from controlplane.http.app import make_app, serve
from controlplane.http.auth import Authenticate, trusted
from controlplane.http.target import Handler, Target
from controlplane.http.tokens import account_token

__all__ = ["Authenticate", "Handler", "Target", "account_token", "make_app", "serve", "trusted"]
