// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The arguments of the command line.
struct Arguments {
    /// The arguments, with the options of all subcommands after the subcommand, where the parser looks for them.
    ///
    /// Users write them in either order.
    let ordered: [String]
    let wantJSON: Bool

    init(_ arguments: [String]) {
        var leading: [String] = []
        var rest = arguments[...]
        while let first = rest.first {
            if first == "--json" || first.hasPrefix("--control-socket=") {
                leading.append(rest.removeFirst())
            } else if first == "--control-socket", rest.count > 1 {
                leading += [rest.removeFirst(), rest.removeFirst()]
            } else {
                break
            }
        }
        let isVerb = rest.first.map { !$0.hasPrefix("-") } ?? false
        ordered = isVerb ? [rest.removeFirst()] + leading + rest : arguments
        wantJSON = arguments.contains("--json")
    }
}
