"""Start Ryu's manager: `python topo/ryu_launcher.py [ryu-manager's arguments]`.

Ryu 4.34, the last release (2020), imports the name `eventlet.wsgi.ALREADY_HANDLED`, which eventlet dropped
in 0.30.3; today's Python needs a later eventlet. So the name is put back before Ryu looks for it. It meant
"this request has been answered on its socket"; eventlet's WebSocket code says that by another flag now
(`wsgi.WSGI_LOCAL.already_handled`), and Ryu only hands the object back.

Sources: ryu/app/wsgi.py of Ryu 4.34; eventlet/wsgi.py and NEWS, 0.30.3.
"""

import eventlet.wsgi

if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = object()

from ryu.cmd.manager import main  # after the repair above

if __name__ == "__main__":
    main()
