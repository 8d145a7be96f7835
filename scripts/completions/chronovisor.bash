# Completion of `chronovisor` in bash: `source scripts/completions/chronovisor.bash`,
# or put this file into ~/.local/share/bash-completion/completions/ as `chronovisor`.
# Commands, options and their values are what the program itself lists in --help.

# Words of the section $1 ("Subcommands" or "Options") of the help on standard input.
_chronovisor_section() {
  awk -v section="$1:" '
    /^[^ ]/ { inside = ($0 == section); next }
    inside && /^  [^ ]/ { gsub(",", " ", $1); print $1 }' | tr ' ' '\n' | sed "s/[[{].*//"
}

# Values of the option $1 in the help on standard input: words as they are typed, and
# of those with a placeholder what comes before it.
_chronovisor_values() {
  awk -v option="$1" '
    /^  -/ { n = split($1, names, ","); for (i = 1; i <= n; i++) if (names[i] == option) print $2 }' |
    tr '|' '\n' | sed -E '/^[0-9]/!s/[A-Z][A-Z\/]*.*//' | grep .
}

_chronovisor() {
  local program=$1 current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  local -a path=()
  local help word
  [[ $program == */* ]] || program=$(type -P "$program") || return
  help=$("$program" --help 2>/dev/null) || return
  # The commands given so far lead to the help that counts.
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    if [[ $word != -* ]] && _chronovisor_section Subcommands <<< "$help" | grep -qxF -e "$word"; then
      path+=("$word")
      help=$("$program" "${path[@]}" --help 2>/dev/null) || return
    fi
  done

  # bash takes `--option=value` apart at the `=`.
  if [[ $current == = ]]; then
    current=
  elif [[ $previous == = ]]; then
    previous=${COMP_WORDS[COMP_CWORD-2]}
  fi
  local values=
  if [[ $previous == --gdb ]]; then
    values="gdb lldb"
  elif [[ $previous == -* ]]; then
    values=$(_chronovisor_values "$previous" <<< "$help")
  fi
  local choices=$values
  if [[ -z $values ]]; then
    if [[ $current == -* ]]; then
      choices=$(_chronovisor_section Options <<< "$help")
    else
      choices=$(_chronovisor_section Subcommands <<< "$help")
    fi
  fi
  COMPREPLY=($(compgen -W "$choices" -- "$current"))
  # Whatever is no command or known value may be a file.
  if [[ -z $choices && $current != -* ]]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$current"))
  fi
}

complete -F _chronovisor chronovisor
