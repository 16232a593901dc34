// Posts three pings through the types that openapi-typescript makes, and reads the track.
// Arguments: the server's address, and the time of the first ping in ms.
import createClient from "openapi-fetch"
import type { components, paths } from "./schema.js"

const at = Number(process.argv[3])
const client = createClient<paths>({ baseUrl: process.argv[2] })
const pings: components["schemas"]["Ping"][] = [
  { rider_id: "ts", ts: at, lat: 41.1578123, lon: -8.6291051, event: "trip_start" },
  { rider_id: "ts", ts: at + 60_000, lat: 41.2, lon: -8.6, event: "trip_start" },
  { rider_id: "ts", ts: at, lat: 95, lon: 0 },
]
// @ts-expect-error the types refuse a number in quotes, as the server does
const quoted: components["schemas"]["Ping"] = { rider_id: "ts", ts: at, lat: "41", lon: 0 }
const posted = await client.POST("/v1/pings", { params: { query: { verdicts: "1" } }, body: pings })
if (posted.error) throw new Error(posted.error.error)
console.log(posted.response.status, `[${posted.data.verdicts?.join(" ")}]`, posted.data.errors[0]?.index)
for (;;) {
  const got = await client.GET("/v1/riders/{id}/track", { params: { path: { id: "ts" } } })
  if (got.error) throw new Error(got.error.error)
  if (!("pings" in got.data)) throw new Error("GeoJSON, which was not asked for")
  const points = got.data.pings
  if (points.length < 2 || points.some(p => p.event === undefined)) {
    await new Promise(resume => setTimeout(resume, 20)) // what is on its way to the store has no event yet
    continue
  }
  for (const p of points) console.log(p.ts - at, p.lat, p.lon, p.event)
  break
}
