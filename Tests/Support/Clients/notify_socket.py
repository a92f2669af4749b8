"""Stands where a service manager listens (sd_notify(3)), and prints each message that it is sent as a JSON list of its lines."""
import json, socket, sys

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(sys.argv[1])
print('["listening"]', flush=True)
while True:
    print(json.dumps(manager.recv(65536).decode().split("\n")), flush=True)
