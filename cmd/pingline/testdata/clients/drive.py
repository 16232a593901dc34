# Sends and reads with the client of docs/clients.md. Arguments: the server's address, and the time of the first ping in ms.
import sys, time
from client import send, track

url, at = sys.argv[1], int(sys.argv[2])
rejected = []
send(url, [
    {"rider_id": "a python", "ts": at, "lat": 41.1578123, "lon": -8.6291051, "event": "trip_start"},
    {"rider_id": "a python", "ts": at, "lat": 95, "lon": 0},
    {"rider_id": "a python", "ts": at + 60_000, "lat": 41.2, "lon": -8.6, "event": "trip_end"},
], lambda ping, error: rejected.append((ping["lat"], error["field"])))
send(url, [{"rider_id": "a python", "ts": at, "lat": 96, "lon": 0}], lambda ping, error: rejected.append((ping["lat"], error["field"])))
print("rejected", *rejected[0], *rejected[1])
try:
    send(url + "/nowhere", [])
except RuntimeError as refusal:
    print(str(refusal)[:21])
while len(points := track(url, "a python", at)) < 2 or not all("event" in p for p in points):
    time.sleep(0.02)  # what is on its way to the store has no event yet
for p in points:
    print(p["ts"] - at, p["lat"], p["lon"], p["event"])
