package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"runtime"

	"github.com/gofiber/fiber/v2"
)

// asFloor is the argument by which this program is the floor.
const asFloor = "floor"

// serveFloor is a server that takes each request, throws its body away and answers: no
// server on Fiber costs less. It prints its address and ends with its standard input.
func serveFloor() {
	app := fiber.New(fiber.Config{DisableStartupMessage: true, DisableDefaultDate: true, BodyLimit: 64 << 20, Network: "tcp4"})
	app.Post("/v1/pings", func(c *fiber.Ctx) error {
		_ = c.Request().Body() // as it came: c.Body would decompress it
		return c.SendStatus(http.StatusOK)
	})
	app.Get("/metrics", func(c *fiber.Ctx) error {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return c.SendString(fmt.Sprintf("%s %d\n", mallocs, m.Mallocs))
	})
	ln, err := listen()
	if err == nil {
		fmt.Println(ln.Addr())
		go func() {
			_, _ = bufio.NewReader(os.Stdin).ReadByte()
			_ = app.Shutdown()
		}()
		err = app.Listener(ln)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}
