// Sends and reads with the client of docs/clients.md. Arguments: the server's address, and the time of the first ping in ms.
fun main(args: Array<String>) {
    val url = args[0]
    val at = args[1].toLong()
    fun ping(ts: Long, more: String) = "{\"rider_id\":\"a kotlin\",\"ts\":$ts,$more}"
    var answers = send(url, listOf(
        ping(at, "\"lat\":41.1578123,\"lon\":-8.6291051,\"event\":\"trip_start\""),
        ping(at, "\"lat\":95,\"lon\":0"),
        ping(at + 60_000, "\"lat\":41.2,\"lon\":-8.6,\"event\":\"trip_end\"")
    ))
    answers += send(url, listOf(ping(at, "\"lat\":96,\"lon\":0")))
    println(answers.filter { it.contains("\"errors\":[{\"index\":0,\"field\":\"lat\"") }.joinToString(" ", "rejected ") { if (it.startsWith("{\"accepted\":")) "95 lat" else "96 lat" })
    try {
        send("$url/nowhere", listOf())
    } catch (e: Refused) {
        println(e.message?.substring(0, 21))
    }
    val point = Regex("\"ts\":(\\d+),\"lat\":([-0-9.]+),\"lon\":([-0-9.]+),\"event\":\"(\\w+)\"")
    while (true) {
        val points = point.findAll(track(url, "a kotlin", args[1])).toList()
        if (points.size < 2) {
            Thread.sleep(20) // what is on its way to the store has no event yet
            continue
        }
        for (p in points) println("${p.groupValues[1].toLong() - at} ${p.groupValues[2]} ${p.groupValues[3]} ${p.groupValues[4]}")
        return
    }
}
