package import MartletCore

/// A configuration as the text of its file, and its reference.
package enum ConfigurationText {
    /// YAML with every key, its value, and one line of what it is for; read again it gives the same configuration.
    package static func yaml(_ configuration: Configuration) -> String {
        let isDefault = configuration == Configuration()
        let values = isDefault ? "its default; leave out what you do not change." : "the value that is in force."
        var text = """
            # Martlet's configuration. Every key is here with \(values)
            # Flags come first, then MARTLET_* in the environment (MARTLET_CLIENT_LISTEN), then systemd credentials
            # (secrets only), then this file. Check it with: martletd check-config --config FILE

            """
        var section = ""
        for key in ConfigurationKey.all {
            let parts = key.name.split(separator: ".")
            let isTop = parts.count == 1
            if !isTop, parts[0] != section {
                section = String(parts[0])
                text += "\n\(section):\n"
            }
            let indent = isTop ? "" : "  "
            text += "\(indent)# \(key.help)\n\(indent)\(parts[parts.count - 1]): \(shown(key, configuration))\n"
        }
        return text
    }

    /// A table for people, in Markdown.
    package static func markdown(_ configuration: Configuration) -> String {
        var text = """
            # Configuration

            Made by `martletd print-config --markdown`. Every key can be set in the file (`--config FILE`, YAML), and in the
            environment under the name given; four have flags: `--workers`, `--client-listen`, `--api-listen`,
            `--control-socket`. Flags come first, then the environment, then systemd credentials (for secrets), then the file,
            then defaults. A key that does not exist, a wrong type or an impossible value stops the start and is named with
            its line; `martletd check-config --config FILE` says so beforehand, and names all that is wrong (but what is wrong
            with single keys of a JWKS). `martletd print-config --config FILE` shows what is in force.

            Durations are `250ms`, `5s`, `2m`, `1h`; sizes are bytes, or `64KiB`, `1MiB`, `1GiB`. In the environment a list is
            `a,b`, or a JSON array (`["a","b"]`) where a value has a comma; an empty variable counts as none.

            Secrets are never in the file itself: it names files that hold them. Under systemd use `LoadCredential=` with the
            names given; a credential takes the place of the file's key. White space at a secret's end is not part of it.

            | key | default | environment | what it is for |
            |---|---|---|---|

            """
        for key in ConfigurationKey.all {
            let value = shown(key, configuration)
            text += "| `\(key.name)` | `\(value)` | `\(ConfigurationReading.variable(key.name))` | \(key.help) |\n"
        }
        return text
    }

    private static func shown(_ key: ConfigurationKey, _ configuration: Configuration) -> String {
        switch key.get(configuration) {
        case .list(let list): return "[" + list.map(quoted).joined(separator: ", ") + "]"
        case .text(let text):
            let isBare = key.shape != .text || (!text.isEmpty && text.utf8.allSatisfy(isPlain))
            return isBare ? text : quoted(text)
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "/"), UInt8(ascii: "."),
            UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }
}
