package main

import (
	"context"

	"github.com/spf13/cobra"
)

func newCompletionCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the completion script for bash, zsh, fish or powershell",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Example: `  syncfs completion bash > ~/.local/share/bash-completion/completions/syncfs
  syncfs completion zsh > "${fpath[1]}/_syncfs"`,
		Args: exactArgs("SHELL"),
	}
	cmd.RunE = runE(func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(e.stdout, true)
		case "zsh":
			return root.GenZshCompletion(e.stdout)
		case "fish":
			return root.GenFishCompletion(e.stdout, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(e.stdout)
		}
		return usage("there is no completion for %q: it is bash, zsh, fish or powershell", args[0])
	})
	return cmd
}
