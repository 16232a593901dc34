package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// systemd finds nothing to say about the unit of deploy/.
func TestUnitOfSystemd(t *testing.T) {
	if !installed("systemd-analyze") {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	writeIn(t, dir, "pingline.service", replaced(t, "pingline.service", "/usr/local/bin/pingline", "/bin/sh", "/bin/kill", "/bin/sh"))
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", filepath.Join(dir, "pingline.service")).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// The settings of deploy/ are fine.
func TestSettingsOfDeploy(t *testing.T) {
	if status, said := exits(t, "serve", "--config=../../deploy/pingline.yaml", "--check-config"); status != exitOK {
		t.Errorf("exit status %d: %s", status, said)
	}
}
