// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// Sources also carry the word `unsafe` at every expression that the compiler cannot prove memory-safe.
///
/// Release builds do without the run time's checks that no two accesses to one variable overlap, which cost a tenth of each
/// publish; debug builds have them, so that every test does.
let strictSources =
    strict + [
        .strictMemorySafety(), .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
    ]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martletd", targets: ["MartletSupervisor"]),
        .executable(name: "martlet-worker", targets: ["MartletWorker"]),
        .executable(name: "martletctl", targets: ["MartletControl"]),
        .executable(name: "martlet-load", targets: ["MartletLoad"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        // Libraries of the system.
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .systemLibrary(name: "CYaml", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Floors: what the processes stand on.
        .target(name: "CMartletLinux"),
        .target(name: "MartletCore", swiftSettings: strictSources),
        .target(name: "MartletWire", dependencies: ["MartletCore", "CZlib"], swiftSettings: strictSources),
        .target(name: "MartletLinux", dependencies: ["CMartletLinux"], swiftSettings: strictSources),
        // Apart from MartletLinux, because a worker must not be linked with libsystemd.
        .target(name: "MartletSystemd", dependencies: ["CSystemd", "MartletLinux"], swiftSettings: strictSources),

        // How log lines travel between processes.
        .target(name: "MartletLogging", dependencies: [logging], swiftSettings: strictSources),

        // What is configured, and the secrets that it names.
        .target(
            name: "MartletConfiguration",
            dependencies: ["MartletCore", "MartletWire", "MartletLinux", "CYaml"],
            swiftSettings: strictSources
        ),

        // Rooms: each is a process.
        .executableTarget(
            name: "MartletSupervisor",
            dependencies: [
                "MartletCore", "MartletWire", "MartletLinux", "MartletSystemd", "MartletConfiguration",
                "MartletLogging", logging, argumentParser,
            ],
            swiftSettings: strictSources
        ),
        .executableTarget(
            name: "MartletWorker",
            dependencies: [
                "MartletCore", "MartletWire", "MartletLinux", "MartletLogging", logging,
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            resources: [.embedInCode("Door/demo.html"), .embedInCode("Door/martlet.js")],
            swiftSettings: strictSources
        ),
        .executableTarget(
            name: "MartletControl",
            dependencies: ["MartletCore", "MartletWire", "MartletLinux", argumentParser],
            swiftSettings: strictSources
        ),
        .executableTarget(
            name: "MartletLoad",
            dependencies: [
                "MartletCore", argumentParser,
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOWebSocket", package: "swift-nio"),
            ],
            swiftSettings: strict
        ),

        // Tests.
        .target(
            name: "Support",
            dependencies: ["MartletLinux"],
            path: "Tests/Support",
            exclude: ["Clients", "Lab", "ScriptedKernel", "address-suppressions"],
            swiftSettings: strict
        ),
        .target(name: "ScriptedKernel", path: "Tests/Support/ScriptedKernel"),
        .testTarget(name: "MartletCoreTests", dependencies: ["MartletCore"], swiftSettings: strict),
        .testTarget(
            name: "MartletWireTests",
            dependencies: ["MartletCore", "MartletWire"],
            exclude: ["json-cases.tsv"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MartletLinuxTests",
            dependencies: ["MartletLinux", "ScriptedKernel"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MartletConfigurationTests",
            dependencies: ["MartletCore", "MartletConfiguration"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MartletSupervisorTests",
            dependencies: ["MartletCore", "MartletWire", "MartletLinux", "MartletConfiguration", "MartletSupervisor"],
            exclude: ["Golden"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "MartletWorkerTests",
            dependencies: ["MartletCore", "MartletWire", "MartletLinux", "MartletWorker", "ScriptedKernel"],
            swiftSettings: strict
        ),
        .testTarget(
            name: "EndToEndTests",
            dependencies: [
                "MartletCore", "Support", "MartletSupervisor", "MartletWorker", "MartletControl", "MartletLoad",
            ],
            swiftSettings: strict
        ),
        // What the fuzzer calls (`make fuzz`), and what it has found.
        .target(
            name: "FuzzTargets",
            dependencies: ["MartletCore", "MartletWire", "MartletConfiguration"],
            path: "Tests/Fuzzing/Targets",
            swiftSettings: strict
        ),
        .executableTarget(
            name: "martlet-fuzz",
            dependencies: ["FuzzTargets"],
            path: "Tests/Fuzzing/Main",
            swiftSettings: strict
        ),
        .testTarget(
            name: "FuzzingTests",
            dependencies: ["FuzzTargets"],
            path: "Tests/Fuzzing/Tests",
            swiftSettings: strict
        ),
        .testTarget(
            name: "TidyTests",
            dependencies: ["MartletSupervisor", "MartletWorker"],
            swiftSettings: strict
        ),
    ]
)
