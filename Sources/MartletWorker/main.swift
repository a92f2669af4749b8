internal import MartletLinux
internal import MartletWire

// A worker is born, never started: its supervisor hands it descriptors and a contract, and it runs until the supervisor
// says stop or is gone. In reading order: Worker (one turn of the loop), Door (strangers come in), Router (whose is it?),
// Link (words to the other processes), Shard (what a command does), Sockets (the WebSockets themselves).

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
// Started by a number of a descriptor, it would be called that.
CurrentProcess.setName("martlet-worker")
SignalSource.ignoreMeaningless()
SignalSource.ignoreFileSizeLimit()
// While the table of descriptors is ours alone, it grows at once.
CurrentProcess.reserveDescriptors(min(CurrentProcess.raiseDescriptorLimit(), 16384))
// Before anything else: from here on the sockets of our clients outlive us.
guard Keeper.start(channel: BirthContract.Descriptor.keeper) else {
    CurrentProcess.printError("martlet-worker: cannot make a keeper")
    CurrentProcess.exit(1)
}
// Where somebody asked for Swift's own backtraces, which another program makes, those are better.
let asked = CurrentProcess.environment("SWIFT_BACKTRACE") ?? "enable=no"
if asked.contains("enable=no") {
    CurrentProcess.reportTraps(as: "martlet-worker")
    do throws(SystemCallError) {
        // Before the first byte of a stranger is read.
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
