# Sends and reads with the client of docs/clients.md. Arguments: the server's address, and the time of the first ping in ms.
export PINGS_URL=$1
at=$2
cat >pings.ndjson <<END
{"rider_id":"r-1","ts":$at,"lat":41.1578123,"lon":-8.6291051,"event":"trip_start"}
{"rider_id":"r-1","ts":$at,"lat":95,"lon":0}
{"rider_id":"r-1","ts":$((at + 60000)),"lat":41.2,"lon":-8.6,"event":"trip_end"}
END
sed -n '2s/:95,/:96,/p' pings.ndjson >bad.ndjson
cp bad.ndjson nowhere.ndjson
rejected=$(sh send.sh pings.ndjson 2>&1 && sh send.sh bad.ndjson 2>&1)
echo "rejected$(echo "$rejected" | sed -n 's/.*: {"accepted.*"errors":\[{"index":0,"field":"lat".*/ 95 lat/p; s/.*: {"error".*"index":0,"field":"lat".*/ 96 lat/p' | tr -d '\n')"
PINGS_URL=$1/nowhere sh send.sh nowhere.ndjson 2>&1 | sed -n 's/^nowhere.ndjson: \([0-9]*\) .*/refused for good: \1/p'
[ "$(ls ./*.ndjson*)" = "./nowhere.ndjson
./nowhere.ndjson.answer" ] || ls # what was acknowledged is gone
until sh track.sh >track.json && [ "$(grep -o '"event"' track.json | grep -c '')" = 2 ]; do
  sleep 0.02 # what is on its way to the store has no event yet
done
grep -o '"ts":[0-9]*,"lat":[-0-9.]*,"lon":[-0-9.]*,"event":"[a-z_]*"' track.json |
  sed 's/"[a-z]*"://g; s/"//g; y/,/ /' | while read -r ts rest; do echo "$((ts - at)) $rest"; done
