package top

import (
	"context"
	"errors"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"pingline/internal/command"
	"pingline/internal/terminal"
)

// interactive draws the screen until the user ends it or the program's context ends. The
// terminal is then as it was.
func (c *PanelCmd) interactive(p *command.Program, s *source) error {
	m := &topModel{lookout: newLookout(s.name, c.Every), ask: func() tea.Msg {
		a, err := s.get(p)
		return looked{a, err}
	}, colored: terminal.Colored(p.Stdout), now: time.Now(), columns: terminal.MaxWidth, height: 24}
	options := []tea.ProgramOption{tea.WithOutput(p.Stdout), tea.WithoutSignalHandler(), tea.WithInput(nil)}
	if terminal.Answers(p.Stdin) {
		options = append(options, tea.WithInput(p.Stdin))
	}
	screen := tea.NewProgram(m, options...)
	stop := context.AfterFunc(p, screen.Quit)
	defer stop()
	if _, err := screen.Run(); err != nil && p.Err() == nil {
		return err
	}
	return m.failure
}

// topModel is the screen as bubbletea has it.
type topModel struct {
	*lookout
	ask             tea.Cmd
	now             time.Time
	columns, height int
	colored         bool
	failure         error // that ended it
}

// looked is the result of a look.
type looked struct {
	answer *look
	err    error
}

// due says that it is time for a look; passed, that a second has passed.
type (
	due    struct{}
	passed struct{}
)

// Init asks for the first time.
func (m *topModel) Init() tea.Cmd { return tea.Batch(m.ask, second()) }

func second() tea.Cmd {
	return tea.Tick(time.Second, func(time.Time) tea.Msg { return passed{} })
}

// Update takes an event.
func (m *topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m.now = time.Now()
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.columns, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "Q", "ctrl+c":
			return m, tea.Quit
		case "ctrl+z":
			return m, tea.Suspend
		}
	case passed:
		return m, second()
	case due:
		return m, m.ask
	case looked:
		if failure := new(lookError); m.last == nil && m.away.IsZero() && errors.As(msg.err, &failure) && failure.unfit {
			m.failure = msg.err
			return m, tea.Quit
		}
		m.took(m.now, msg.answer, msg.err)
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return due{} })
	}
	return m, nil
}

// View draws the screen.
func (m *topModel) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

func (m *topModel) draw() string {
	lines := m.page(m.now, m.columns, max(m.height, 1))
	if !m.colored {
		return strings.TrimSuffix(plain(lines), "\n")
	}
	drawn := make([]string, len(lines))
	for i, line := range lines {
		for _, p := range line {
			drawn[i] += styles[p.tone].Render(p.text)
		}
	}
	return strings.Join(drawn, "\n")
}

// styles are the tones on a terminal, in the eight colours that every terminal has.
var styles = [...]lipgloss.Style{
	usual:  lipgloss.NewStyle(),
	faint:  lipgloss.NewStyle().Faint(true),
	strong: lipgloss.NewStyle().Bold(true),
	good:   lipgloss.NewStyle().Foreground(lipgloss.Green),
	wary:   lipgloss.NewStyle().Foreground(lipgloss.Yellow).Bold(true),
	bad:    lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true),
}
