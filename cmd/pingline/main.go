// Command pingline takes location pings in over HTTP, makes them durable, drops
// pings that add nothing to their track, and writes the rest to InfluxDB in
// batches.
//
// It exits with 0 when done or told to stop, with 1 when something failed, and
// with 2 when it cannot start as asked: a wrong flag, file or directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"pingline/internal/boards"
	"pingline/internal/clustertool"
	"pingline/internal/command"
	"pingline/internal/copytool"
	"pingline/internal/keyring"
	"pingline/internal/logtool"
	"pingline/internal/node"
	"pingline/internal/reshardtool"
	"pingline/internal/rider"
	"pingline/internal/schema"
	"pingline/internal/setup"
	"pingline/internal/simulate"
	"pingline/internal/terminal"
	"pingline/internal/top"
)

// version is set by the linker.
var version = "development"

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

type cli struct {
	Serve      serveCmd              `cmd:"" help:"Take pings in and write them to InfluxDB."`
	Demo       demoCmd               `cmd:"" help:"Run a simulated city against a real InfluxDB, and audit the result."`
	Deadletter deadletterCmd         `cmd:"" help:"Look at the rows that InfluxDB refused, and put them back."`
	Dedupe     dedupeCmd             `cmd:"" help:"Show what the filter would keep of recorded tracks, and how far off the rest is."`
	Sim        simulate.Commands     `cmd:"" help:"Send the pings of a simulated city to an ingester, and hold the answers against what is stored."`
	Chaos      simulate.ChaosCmd     `cmd:"" help:"Send pings while the ingester is killed, frozen and worse, and hold the answers against what is stored."`
	Plan       planCmd               `cmd:"" help:"Work out what a fleet asks of the machines, and whether one InfluxDB is enough."`
	Top        top.PanelCmd          `cmd:"" help:"Show how an ingester does, on a screen that is drawn anew every second."`
	Rider      rider.RightsCmd       `cmd:"" help:"Give out all that is known of a rider, or remove it."`
	Grafana    boards.Command        `cmd:"" help:"Write Grafana's boards, alert rules and data sources for the configured stores."`
	Log        logtool.LogCmds       `cmd:"" help:"Show, copy out, back up and restore the log of a node."`
	Copy       copytool.CopyCmd      `cmd:"" help:"Copy history from one store into another, and compare both."`
	Reshard    reshardtool.ShardCmds `cmd:"" help:"Add, take out and reweight shards of a node that runs."`
	Cluster    clustertool.NodeCmds  `cmd:"" help:"Show which of several nodes has which riders, and have a node give its part to another."`
	Schema     schema.PrintCmd       `cmd:"" help:"Print the statements that make the tables of a store."`
	Phone      setup.PhoneCmds       `cmd:"" help:"Set up the phone of a rider, with an app that exists."`
	Key        keyring.KeyCmds       `cmd:"" help:"Add, list, revoke and rotate the keys of those who may send and read."`
	Version    versionCmd            `cmd:"" help:"Print the version."`

	ShowVersion showVersion `name:"version" short:"v" help:"Print the version."`
}

// showVersion is the flag --version, which does the same as pingline version.
type showVersion bool

// BeforeReset is called by kong before it checks that there is a command.
func (showVersion) BeforeReset(app *kong.Kong) error {
	if err := new(versionCmd).print(app.Stdout); err != nil {
		return err
	}
	app.Exit(exitOK)
	return nil
}

// program is a run of pingline, with the arguments that it was given.
type program struct {
	command.Program
	args    []string
	parsed  *kong.Context
	hangups <-chan os.Signal // that a command may read its settings anew at; nil if they end it
}

type versionCmd struct {
	All bool `env:"-" help:"List the stores and the protocols of clients, too."`
}

func (c *versionCmd) Run(p *program) error { return c.print(p.Stdout) }

func (c *versionCmd) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "pingline %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	if c.All && err == nil {
		_, err = fmt.Fprintf(w, "stores:\n  %s\nprotocols:\n  %s\n", strings.Join(node.Stores(), "\n  "), strings.Join(node.Protocols(), "\n  "))
	}
	return err
}

func main() {
	p := &program{args: os.Args[1:]}
	p.Stdin, p.Stdout, p.Stderr, p.Version = os.Stdin, os.Stdout, os.Stderr, version
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	switch {
	case len(p.args) > 0 && p.args[0] == "serve" && !terminal.Is(os.Stderr):
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		p.hangups = hangups
	case !signal.Ignored(syscall.SIGHUP): // SIGHUP is ignored under nohup
		ends = append(ends, syscall.SIGHUP) // a closed terminal ends the process
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	// A second signal, while stopping, ends the process at once.
	context.AfterFunc(ctx, stop)
	p.Context = ctx
	code := p.run()
	stop()
	os.Exit(code)
}

// run runs a program without signals, for tests.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	p := &program{Program: command.Program{Context: ctx, Stdout: stdout, Stderr: stderr, Version: version}, args: args}
	return p.run()
}

// run parses the arguments, runs the command and returns the exit status.
func (p *program) run() (status int) {
	p.args = withNumbers(p.args)
	args, stderr := p.args, p.Stderr
	exited := false
	parser, err := newParser(new(cli),
		kong.Writers(p.Stdout, stderr),
		kong.Exit(func(code int) { exited = true; panic(exitPanic(code)) }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "pingline:", err)
		return exitFailed
	}
	defer func() { // kong exits after --help, by a panic
		if p := recover(); exited {
			status = int(p.(exitPanic))
		} else if p != nil {
			panic(p)
		}
	}()
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // help, or help COMMAND
		args = append(slices.Clone(args[1:]), "--help")
	}
	cmd, err := parser.Parse(args)
	if err == nil && slices.Contains([]string{"serve", "deadletter"}, cmd.Path[1].Node().Name) {
		err = checkEnvironment(parser.Model)
	}
	if err != nil {
		fmt.Fprintf(stderr, "pingline: %s (see %s --help)\n", inOwnWords(err, args), parsedCommand(err))
		return exitUsage
	}
	p.parsed = cmd
	err = cmd.Run(p, &p.Program)
	if err == nil {
		return exitOK
	}
	message := err.Error()
	if p.Err() != nil { // the user has cancelled it, and knows
		message = strings.TrimSuffix(message, ": "+context.Canceled.Error())
	}
	fmt.Fprintln(stderr, "pingline:", message)
	if errors.As(err, new(command.UsageError)) {
		return exitUsage
	}
	return exitFailed
}

type exitPanic int

func newParser(commands any, options ...kong.Option) (*kong.Kong, error) {
	return kong.New(commands, append(options,
		kong.Name("pingline"),
		kong.Description("Location pings in, few and durable points out."),
		kong.PostBuild(environment),
		kong.PostBuild(addExamples),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(readTime)),
		inWords[int]("a whole number"),
		inWords[uint64]("a whole number from 0 on"),
		inWords[float64]("a number"),
		inWords[slog.Level]("debug, info, warn or error"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 80}),
	)...)
}
