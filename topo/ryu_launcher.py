"""Start Ryu's manager: `python topo/ryu_launcher.py [ryu-manager's arguments]`.

Ryu 4.34, the last release (2020), imports the name `eventlet.wsgi.ALREADY_HANDLED`, which eventlet dropped in
0.30.3; eventlet 0.41 runs on today's Python, its predecessors do not. So the name is put back before Ryu looks for
it. Its meaning, "this request has been answered on the socket itself", is kept by eventlet's successor of it,
`wsgi.WSGI_LOCAL.already_handled`; Ryu only ever compares and returns the object.

Sources: https://github.com/faucetsdn/ryu (ryu/app/wsgi.py); eventlet's NEWS, 0.30.3.
"""

import eventlet.wsgi

if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = object()

from ryu.cmd.manager import main  # noqa: E402  # must follow the repair above

if __name__ == "__main__":
    main()
