package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const rootLong = `syncfs mounts a folder over itself: it stays an ordinary directory at native
speed, every directory in it has a read-only .versions/ with its earlier
states, and every change travels, encrypted, to a remote and to your other
machines.

Exit codes: 0 ok, 1 failed, 3 partial, 4 conflicts remain, 5 offline,
6 verification failed, 10 no repository, 11 busy, 12 wrong passphrase or key,
130 interrupted.`

const rootExample = `  syncfs up ~/Sync                        # everything on this machine alone
  syncfs serve --data /srv/syncfs --listen :5000
  syncfs init http://server:5000 --key K  # or connect, on the next machine
  syncfs add ~/Documents
  ls ~/Documents/.versions/`

// newRootCommand is the list of all commands.
func newRootCommand(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "syncfs",
		Short:         "A folder that keeps every version of itself, on every machine, encrypted",
		Long:          rootLong,
		Example:       rootExample,
		Args:          noCommand,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().BoolVarP(&e.quiet, "quiet", "q", false, "print only errors and what was asked for")
	root.PersistentFlags().CountVarP(&e.verbose, "verbose", "v", "say more; twice for debugging")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hinted(err, "`%s --help` lists the options", cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: "start", Title: "To begin:"},
		&cobra.Group{ID: "folders", Title: "Folders of this machine:"},
		&cobra.Group{ID: "past", Title: "Backups and the past:"},
		&cobra.Group{ID: "store", Title: "The repository:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("start", newUpCommand(e), newServeCommand(e), newInitCommand(e), newConnectCommand(e), newDisconnectCommand(e), newLoginCommand(e))
	add("folders", newAddCommand(e), newGetCommand(e), newFoldersCommand(e), newStatusCommand(e), newDoctorCommand(e), newFlushCommand(e),
		newConfirmCommand(e), newUndoCommand(e), newConflictsCommand(e), newPauseCommand(e), newResumeCommand(e),
		newLimitCommand(e), newMountCommand(e), newUmountCommand(e), newUnlockCommand(e),
		newPinCommand(e), newUnpinCommand(e), newEvictCommand(e),
		newIgnoredCommand(e), newUntrackCommand(e), newRemoveCommand(e), newStopCommand(e), newLogCommand(e), newEventsCommand(e))
	add("past", newBackupCommand(e), newScheduleCommand(e), newContainerCommand(e), newReportCommand(e), newVersionsCommand(e), newLsCommand(e), newCatCommand(e), newFindCommand(e), newDiffCommand(e), newRestoreCommand(e))
	add("store", newForgetCommand(e), newRetentionCommand(e), newPruneCommand(e), newCheckCommand(e), newRepairCommand(e), newCopyCommand(e), newStatsCommand(e), newKeyCommand(e), newRemoteCommand(e))
	add("", newAgentCommand(e), newApplyCommand(e), newGuardCommand(e), newUnitCommand(e), newMountHelperCommand(e), newCompletionCommand(e), newManCommand(e), newVersionCommand(e))
	return root
}

// noCommand refuses what should have been the name of a subcommand.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	err := fmt.Errorf("there is no command %q", strings.TrimPrefix(cmd.CommandPath()+" "+args[0], "syncfs "))
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return hinted(err, "did you mean %s?", strings.Join(near, " or "))
	}
	return hinted(err, "`%s --help` lists the commands", cmd.CommandPath())
}

// exactArgs wants the named arguments, and says which is missing.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return hinted(fmt.Errorf("%s: %s is missing", cmd.Name(), names[len(args)]), "called as: %s", cmd.UseLine())
		}
		if len(args) > len(names) {
			return hinted(fmt.Errorf("%s: %q is one argument too many", cmd.Name(), args[len(names)]), "called as: %s", cmd.UseLine())
		}
		return nil
	}
}

// rangeArgs wants the named arguments, and takes up to most.
func rangeArgs(most int, names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return hinted(fmt.Errorf("%s: %s is missing", cmd.Name(), names[len(args)]), "called as: %s", cmd.UseLine())
		}
		if len(args) > most {
			return hinted(fmt.Errorf("%s: %q is one argument too many", cmd.Name(), args[most]), "called as: %s", cmd.UseLine())
		}
		return nil
	}
}
