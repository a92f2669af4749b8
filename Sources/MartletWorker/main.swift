// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

// A worker is not started by hand: its supervisor gives it descriptors and a contract, and it runs until the supervisor
// tells it to stop, or is gone for good. In reading order: Worker (one turn of the loop), Door (HTTP connections),
// Router (which shard is it for?), Link (frames to and from the supervisor), Shard (what a command does), Sockets (the
// WebSockets themselves).

CurrentProcess.openStandardDescriptors()
if CommandLine.arguments.dropFirst().elementsEqual([BirthContract.identifyArgument]) {
    try? SharedMemory.write(Array(BirthContract.identity.utf8), to: BirthContract.Descriptor.link)
    CurrentProcess.exit(0)
}
guard CommandLine.arguments.dropFirst().elementsEqual([BirthContract.argument]) else {
    CurrentProcess.printError(
        "martlet-worker can only be started by martletd: run martletd, which starts one for each CPU."
    )
    CurrentProcess.exit(2)
}
// Without this, its name would be the number of the descriptor from which it was started.
CurrentProcess.setName("martlet-worker")
SignalSource.ignoreMeaningless()
SignalSource.ignoreFileSizeLimit()
// While no keeper shares the descriptor table, it grows without delay.
CurrentProcess.reserveDescriptors(min(CurrentProcess.raiseDescriptorLimit(), 16384))
// This comes before anything else: from here on the sockets of our clients outlive us.
guard Keeper.start(channel: BirthContract.Descriptor.keeper) else {
    CurrentProcess.printError("martlet-worker: cannot make a keeper")
    CurrentProcess.exit(1)
}
// If somebody has asked for Swift's own backtraces, which another program makes, those are better.
let asked = CurrentProcess.environment("SWIFT_BACKTRACE") ?? "enable=no"
if asked.contains("enable=no") {
    CurrentProcess.reportTraps(as: "martlet-worker")
    do throws(SystemCallError) {
        // This happens before the first byte of a client is read.
        try CurrentProcess.confine()
    } catch {
        CurrentProcess.printError("martlet-worker: it keeps rights that it does not need: \(error)")
    }
} else {
    CurrentProcess.printError("martlet-worker: it keeps rights that it does not need: SWIFT_BACKTRACE is set")
}
do {
    try Worker.run()
} catch {
    CurrentProcess.printError("martlet-worker: \(error)")
    CurrentProcess.exit(1)
}
