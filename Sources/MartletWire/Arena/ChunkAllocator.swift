// SPDX-License-Identifier: Apache-2.0

/// Gives out pieces of an arena's chunk region.
///
/// The region is divided into pages of 256 KiB. A page holds chunks of one size (64 bytes to 128 KiB, in four steps to the
/// double) while any of them is in use; larger pieces are runs of whole pages. Only this process knows which chunks are free: a
/// successor finds out what is in use by reading the slots. Free chunks are linked through their own first bytes.
@safe
package struct ChunkAllocator {
    fileprivate enum PageUse: Equatable {
        case free
        /// Chunks of one of the sizes (``ChunkAllocator/bytes(ofSize:)``).
        case chunks(size: Int)
        /// The first page of a piece that consists of several.
        case run(pages: Int)
        case insideRun
    }

    private struct Page {
        var use = PageUse.free
        var used = 0
        /// The first free chunk that was once in use; -1: none.
        var firstFree: Int32 = -1
        /// The first of the chunks that were never used.
        var fresh = 0
        /// Whether its memory was touched since it was last given back.
        var isDirty = false
    }

    fileprivate static let sizeCount = 45  // 64 bytes to 128 KiB
    private static let smallest = 64

    private let base: UnsafeMutableRawPointer
    /// The pages that were ever used; more are added, up to `pageCount`.
    private var pages: [Page]
    private let pageCount: Int
    private var withRoom: [[Int]]
    private var freePages: [Int] = []
    private var idleDirtyPages = 0
    /// How many free pages are kept; any more are given back to the system.
    private let keptPages = 16
    /// Pages whose memory can be given back now, in a list that the owner takes.
    package private(set) var pagesToDiscard: [Int] = []
    /// Bytes of the chunks in use.
    package private(set) var bytesInUse = 0

    /// Makes an allocator for a region in which nothing is in use.
    ///
    /// - Parameters:
    ///   - base: The region's first byte.
    ///   - pageCount: The region's size.
    @unsafe
    package init(base: UnsafeMutableRawPointer, pageCount: Int) {
        unsafe self.base = base
        self.pageCount = pageCount
        pages = [Page()]
        withRoom = Array(repeating: [], count: Self.sizeCount)
        // The first chunk of the region is never given out, so that 0 can mean "no chunk".
        pages[0].use = .chunks(size: 0)
        pages[0].used = 1
        pages[0].fresh = 1
        withRoom[0] = [0]
    }

    /// Allocates a piece of at least that many bytes; nil when none is left.
    ///
    /// Returns the piece's distance from the region's start, in units of 16 bytes.
    package mutating func allocate(_ byteCount: Int) -> UInt32? {
        let size = Self.size(for: byteCount)
        return size < Self.sizeCount ? allocateChunk(size) : allocateRun(byteCount)
    }

    /// Returns how many bytes the piece really has.
    package func capacity(of reference: UInt32) -> Int {
        switch pages[page(of: reference)].use {
        case .chunks(let size): Self.bytes(ofSize: size)
        case .run(let count): count * ArenaLayout.pageSize
        case .free, .insideRun: 0
        }
    }

    package mutating func free(_ reference: UInt32) {
        let page = page(of: reference)
        switch pages[page].use {
        case .chunks(let size): freeChunk(reference, page, size)
        case .run(let count):
            bytesInUse -= count * ArenaLayout.pageSize
            for index in page..<page + count { releasePage(index) }
        case .free, .insideRun: preconditionFailure("a chunk was freed twice")
        }
    }

    /// Returns the size class of a piece with so many bytes; ``sizeCount`` means that it is a run of pages.
    fileprivate static func size(for byteCount: Int) -> Int {
        if byteCount <= smallest { return 0 }
        if byteCount > ArenaLayout.pageSize / 2 { return sizeCount }
        // The two bits after the first one say which quarter of the way to the next power of two it is in.
        let last = byteCount - 1
        let power = Int.bitWidth - 1 - last.leadingZeroBitCount
        return 4 * (power - 7) + last >> (power - 2) + 1
    }

    /// Returns how many bytes the chunks of a size class have.
    fileprivate static func bytes(ofSize size: Int) -> Int {
        size == 0 ? smallest : (5 + (size - 1) % 4) << (4 + (size - 1) / 4)
    }

    /// Takes the list of pages to give back.
    package mutating func takePagesToDiscard() -> [Int] {
        defer { pagesToDiscard = [] }
        return pagesToDiscard
    }

    private func page(of reference: UInt32) -> Int {
        Int(reference) * ArenaLayout.chunkUnit / ArenaLayout.pageSize
    }

    private mutating func allocateChunk(_ size: Int) -> UInt32? {
        let byteCount = Self.bytes(ofSize: size)
        let perPage = ArenaLayout.pageSize / byteCount
        while let page = withRoom[size].last {
            if case .chunks(size) = pages[page].use, pages[page].used < perPage {
                let chunk = take(from: page, byteCount)
                if pages[page].used == perPage { withRoom[size].removeLast() }
                return chunk
            }
            withRoom[size].removeLast()  // the page is used for something else now
        }
        guard let page = takeFreePage() else { return nil }
        pages[page].use = .chunks(size: size)
        pages[page].used = 0
        pages[page].firstFree = -1
        pages[page].fresh = 0
        let chunk = take(from: page, byteCount)
        if perPage > 1 { withRoom[size].append(page) }
        return chunk
    }

    private mutating func take(from page: Int, _ byteCount: Int) -> UInt32 {
        let index: Int
        if pages[page].firstFree >= 0 {
            index = Int(pages[page].firstFree)
            let address = page * ArenaLayout.pageSize + index * byteCount
            pages[page].firstFree = unsafe base.load(fromByteOffset: address, as: Int32.self)
        } else {
            index = pages[page].fresh
            pages[page].fresh += 1
        }
        pages[page].used += 1
        pages[page].isDirty = true
        bytesInUse += byteCount
        return UInt32((page * ArenaLayout.pageSize + index * byteCount) / ArenaLayout.chunkUnit)
    }

    private mutating func freeChunk(_ reference: UInt32, _ page: Int, _ size: Int) {
        let byteCount = Self.bytes(ofSize: size)
        let address = Int(reference) * ArenaLayout.chunkUnit
        let wasFull = pages[page].used == ArenaLayout.pageSize / byteCount
        unsafe base.storeBytes(of: pages[page].firstFree, toByteOffset: address, as: Int32.self)
        pages[page].firstFree = Int32((address - page * ArenaLayout.pageSize) / byteCount)
        pages[page].used -= 1
        bytesInUse -= byteCount
        if pages[page].used == 0 {
            releasePage(page)
        } else if wasFull {
            withRoom[size].append(page)
        }
    }

    private mutating func releasePage(_ page: Int) {
        pages[page].use = .free
        pages[page].used = 0
        freePages.append(page)
        guard pages[page].isDirty else { return }
        if idleDirtyPages >= keptPages {
            pages[page].isDirty = false
            pagesToDiscard.append(page)
        } else {
            idleDirtyPages += 1
        }
    }

    private mutating func takeFreePage() -> Int? {
        while let page = freePages.popLast() {
            if pages[page].isDirty { idleDirtyPages -= 1 }
            return page
        }
        guard pages.count < pageCount else { return nil }
        pages.append(Page())
        return pages.count - 1
    }

    private mutating func allocateRun(_ byteCount: Int) -> UInt32? {
        let count = (byteCount + ArenaLayout.pageSize - 1) / ArenaLayout.pageSize
        guard let first = findRun(count) else { return nil }
        while pages.count < first + count { pages.append(Page()) }
        freePages.removeAll { (first..<first + count).contains($0) }
        for page in first..<first + count {
            if pages[page].isDirty { idleDirtyPages -= 1 }
            pages[page].use = page == first ? .run(pages: count) : .insideRun
            pages[page].isDirty = true
        }
        bytesInUse += count * ArenaLayout.pageSize
        return UInt32(first * ArenaLayout.pageSize / ArenaLayout.chunkUnit)
    }

    /// Finds the first place with so many free pages in a row.
    private func findRun(_ count: Int) -> Int? {
        var run = 0
        for page in 0..<pages.count {
            if case .free = pages[page].use { run += 1 } else { run = 0 }
            if run == count { return page - count + 1 }
        }
        // The free pages at the end continue into pages that were never used.
        let first = pages.count - run
        return first + count <= pageCount ? first : nil
    }
}

extension ChunkAllocator {
    /// Goes on with a region in which the surveyed pieces are in use, and everything else is free.
    @unsafe
    init(base: UnsafeMutableRawPointer, continuing survey: ChunkSurvey) {
        unsafe self.init(base: base, pageCount: survey.uses.count)
        pages = Array(repeating: Page(), count: survey.end)
        withRoom[0] = []
        for index in 0..<survey.end {
            pages[index].use = survey.uses[index]
            pages[index].isDirty = true
            switch survey.uses[index] {
            case .chunks(let size): continuePage(index, size, survey.marks[index])
            case .run(let count): bytesInUse += count * ArenaLayout.pageSize
            case .insideRun: break
            case .free: adoptFree(index)
            }
        }
        // The first chunk is never given out.
        bytesInUse -= Self.smallest
    }

    private mutating func adoptFree(_ index: Int) {
        freePages.append(index)
        if idleDirtyPages >= keptPages {
            pages[index].isDirty = false
            pagesToDiscard.append(index)
        } else {
            idleDirtyPages += 1
        }
    }

    private mutating func continuePage(_ index: Int, _ size: Int, _ marks: [Bool]) {
        let byteCount = Self.bytes(ofSize: size)
        pages[index].fresh = (marks.lastIndex(of: true) ?? -1) + 1
        for chunk in (0..<pages[index].fresh).reversed() {
            if marks[chunk] {
                pages[index].used += 1
                continue
            }
            let address = index * ArenaLayout.pageSize + chunk * byteCount
            unsafe base.storeBytes(of: pages[index].firstFree, toByteOffset: address, as: Int32.self)
            pages[index].firstFree = Int32(chunk)
        }
        bytesInUse += pages[index].used * byteCount
        if pages[index].used < marks.count { withRoom[size].append(index) }
    }
}

/// A survey of which pieces of a chunk region are in use, made from the references to them.
struct ChunkSurvey {
    fileprivate var uses: [ChunkAllocator.PageUse]
    /// For each page of chunks: which of them are in use.
    fileprivate var marks: [[Bool]]
    /// The page after the last page in use.
    fileprivate var end = 1

    init(pageCount: Int) {
        uses = Array(repeating: .free, count: pageCount)
        marks = Array(repeating: [], count: pageCount)
        uses[0] = .chunks(size: 0)
        marks[0] = Array(repeating: false, count: ArenaLayout.pageSize / ChunkAllocator.bytes(ofSize: 0))
        marks[0][0] = true
    }

    /// Marks a piece as in use; false if there cannot be such a piece, or it is already marked.
    mutating func claim(_ reference: UInt32, _ byteCount: Int) -> Bool {
        let address = Int(reference) * ArenaLayout.chunkUnit
        let page = address / ArenaLayout.pageSize
        guard reference > 0, byteCount > 0, page < uses.count else { return false }
        let size = ChunkAllocator.size(for: byteCount)
        if size == ChunkAllocator.sizeCount { return claimRun(page, address, byteCount) }
        let chunkSize = ChunkAllocator.bytes(ofSize: size)
        let offset = address - page * ArenaLayout.pageSize
        let index = offset / chunkSize
        guard offset % chunkSize == 0, index < ArenaLayout.pageSize / chunkSize else { return false }
        if uses[page] == .free {
            uses[page] = .chunks(size: size)
            marks[page] = Array(repeating: false, count: ArenaLayout.pageSize / chunkSize)
        }
        guard uses[page] == .chunks(size: size), !marks[page][index] else { return false }
        marks[page][index] = true
        end = max(end, page + 1)
        return true
    }

    private mutating func claimRun(_ page: Int, _ address: Int, _ byteCount: Int) -> Bool {
        let count = (byteCount + ArenaLayout.pageSize - 1) / ArenaLayout.pageSize
        guard address % ArenaLayout.pageSize == 0, page + count <= uses.count else { return false }
        guard uses[page..<page + count].allSatisfy({ $0 == .free }) else { return false }
        for index in page..<page + count { uses[index] = index == page ? .run(pages: count) : .insideRun }
        end = max(end, page + count)
        return true
    }
}
