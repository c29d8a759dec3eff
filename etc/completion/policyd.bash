# Completion for bash; made by generate.py. Goes to /usr/share/bash-completion/completions/policyd

_policyd() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} options="" words="" files=""
    if ((COMP_CWORD > 2)); then
        case "$command ${COMP_WORDS[2]}" in
            "state dump") options="--help --state -h" files="--state" ;;
            "state verify") options="--help --state -h" files="--state" ;;
            "state restore") options="--help --state -h" files="--state" ;;
            "state forget") options="--help --state -h" files="--state" ;;
            "notice preview") options="--domain --help --kind -h" ;;
        esac
    fi
    if ((COMP_CWORD == 1)); then
        words="serve check doctor schema state notice incidents incident suspend unsuspend suspensions exempt unexempt exemptions explain status limits top show reset reload snapshot tail report similar" options="--help --version -h"
    elif [[ -z $options ]]; then
        case $command in
            serve) options="--admin --config --help --listen --log-level --metrics --milter --state -h" files="--config --state --admin" ;;
            check) options="--help -h" ;;
            doctor) options="--help --json --milter --postconf --postfix-config --socket -h" files="--socket --postfix-config --postconf" ;;
            schema) options="--help -h" ;;
            state) options="--help -h" words="dump verify restore forget" ;;
            notice) options="--help -h" words="preview" ;;
            incidents) options="--account --domain --help --json --open --since --socket -h" files="--socket" ;;
            incident) options="--help --json --socket -h" files="--socket" ;;
            suspend) options="--account --domain --for --force --help --json --reason --socket -h" files="--socket" ;;
            unsuspend) options="--account --domain --help --json --reason --socket -h" files="--socket" ;;
            suspensions) options="--all --help --json --socket -h" files="--socket" ;;
            exempt) options="--for --help --json --reason --socket -h" words="account client recipient" files="--socket" ;;
            unexempt) options="--help --json --reason --socket -h" words="account client recipient" files="--socket" ;;
            exemptions) options="--help --json --socket -h" files="--socket" ;;
            explain) options="--account --buckets --help --json --recipients --request --size --socket -h" files="--socket --request" ;;
            status) options="--help --json --socket -h" files="--socket" ;;
            limits) options="--help --json --socket -h" files="--socket" ;;
            top) options="--domain --help --json --limit --number --socket -h -n" files="--socket" ;;
            show) options="--account --client --domain --help --json --socket -h" files="--socket" ;;
            reset) options="--help --json --limit --reason --socket -h" files="--socket" ;;
            reload) options="--help --json --socket -h" files="--socket" ;;
            snapshot) options="--help --json --socket -h" files="--socket" ;;
            tail) options="--account --follow --help --json --number --socket -f -h -n" files="--socket" ;;
            report) options="--help --json --mail-to --since --socket -h" files="--socket" ;;
            similar) options="--boilerplate --help --json -h" files="--boilerplate" ;;
        esac
    fi
    if [[ " $files " == *" $before "* ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
    elif [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$word"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$word"))
    fi
}
complete -o default -F _policyd policyd
