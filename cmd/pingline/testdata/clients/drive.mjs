// Sends and reads with the client of docs/clients.md. Arguments: the server's address, and the time of the first ping in ms.
import {send, track} from "./client.mjs"

const url = process.argv[2], at = Number(process.argv[3])
const rejected = [], report = (ping, error) => rejected.push(ping.lat, error.field)
await send(url, [
  {rider_id: "a node", ts: at, lat: 41.1578123, lon: -8.6291051, event: "trip_start"},
  {rider_id: "a node", ts: at, lat: 95, lon: 0},
  {rider_id: "a node", ts: at + 60_000, lat: 41.2, lon: -8.6, event: "trip_end"},
], report)
await send(url, [{rider_id: "a node", ts: at, lat: 96, lon: 0}], report)
console.log("rejected", ...rejected)
await send(url + "/nowhere", []).catch(refusal => console.log(refusal.message.slice(0, 21)))
let points = []
while (points.length < 2 || !points.every(p => p.event)) {
  points = await track(url, "a node", at)
  await new Promise(resume => setTimeout(resume, 20)) // what is on its way to the store has no event yet
}
for (const p of points) console.log(p.ts - at, p.lat, p.lon, p.event)
