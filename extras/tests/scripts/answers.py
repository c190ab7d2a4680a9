"""Answers as a manager does that is not ready. Writes its address to the file that is named."""

import http.server
import os
import sys

ANSWERS = {
    "/readyz": (
        503,
        b'{"ok":false,"checks":[{"name":"working","ok":true,"required":true,"since":"2026-11-28T10:00:00Z","detail":"it works"},'
        b'{"name":"disk","ok":false,"required":true,"since":"2026-11-28T10:00:00Z","detail":"1 MiB free","advice":"free some"}]}',
    ),
    "/metrics": (
        200,
        b'task_messenger_tasks{state="queued"} 3401.0\ntask_messenger_tasks{state="running"} 87.0\n'
        b'task_messenger_sessions{role="worker"} 12.0\ntask_messenger_slots 96.0\ntask_messenger_slots_used 87.0\n',
    ),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as file:
    file.write("127.0.0.1:%d" % server.server_port)
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
