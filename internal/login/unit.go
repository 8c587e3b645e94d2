package login

import (
	"fmt"
	"strings"
)

// UnitName is the name of the user's unit.
const UnitName = "syncfs.service"

// Unit is the text of the unit that runs exe, with variables of the environment
// that it needs.
//
// It has no sandboxing: in the manager of a user every such directive sets
// no_new_privs, with which fusermount3 cannot mount, and private mounts would
// hide the folder from the session.
func Unit(exe string, environment []string) string {
	var env strings.Builder
	for _, v := range environment {
		fmt.Fprintf(&env, "Environment=%s\n", quoteUnit(v))
	}
	return fmt.Sprintf(unitText, env.String(), quoteExec(exe))
}

// 10 and 11 are the codes of no repository and of another agent: trying again
// changes neither. The child that makes visible steps is ended by the agent, so
// only the agent gets the signal.
const unitText = `# "syncfs login enable" lets this start at login.
[Unit]
Description=Mount and sync the folders of syncfs
Documentation=man:syncfs(1)
StartLimitIntervalSec=120
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
%[1]sExecStart=%[2]s agent
ExecStopPost=-%[2]s agent --clean
Restart=on-failure
RestartSec=1
RestartPreventExitStatus=10 11
SuccessExitStatus=130
WatchdogSec=5min
TimeoutStartSec=2min
TimeoutStopSec=45s
KillMode=mixed

[Install]
WantedBy=default.target
`

// desktopEntry starts exe at the login of a desktop without systemd.
func desktopEntry(exe string) string {
	return fmt.Sprintf(`[Desktop Entry]
Type=Application
Name=syncfs
Comment=Mount and sync the folders of syncfs
Exec=%s agent --detach
Terminal=false
NoDisplay=true
X-GNOME-Autostart-enabled=true
`, quoteExec(exe))
}

// quoteExec writes a program's path so that both systemd and a desktop read it
// as one word.
func quoteExec(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if !strings.ContainsAny(path, " \t\"'\\$`;&|<>()*?#~=") {
		return path
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range path {
		if strings.ContainsRune("\"`$\\", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

// quoteUnit writes a value as one word of a unit.
func quoteUnit(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}
