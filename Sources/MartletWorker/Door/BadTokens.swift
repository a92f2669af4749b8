// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// The rates of bad tokens, by the addresses that they came from.
final class BadTokens {
    private var rates: AddressRates

    init(_ rate: RateLimit) { rates = AddressRates(rate) }

    func admits(_ address: UInt64) -> Bool {
        address == 0 || rates.admits(address, now: Clock.monotonicNanoseconds())
    }

    func count(_ address: UInt64) {
        if address != 0 { rates.count(address, now: Clock.monotonicNanoseconds()) }
    }
}
