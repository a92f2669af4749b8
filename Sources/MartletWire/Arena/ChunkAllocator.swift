/// Gives out pieces of an arena's chunk region.
///
/// The region is cut into pages of 256 KiB. A page holds chunks of one size (128 bytes doubling to 128 KiB) while any of
/// them is in use; larger pieces are runs of whole pages. Which chunk is free is known only here, in the process: a
/// successor finds what is in use by reading the slots. Free chunks are linked through their own first bytes.
@safe
package struct ChunkAllocator {
    private enum PageUse {
        case free
        /// Chunks of `128 << size` bytes.
        case chunks(size: Int)
        /// The first of so many pages that are one piece.
        case run(pages: Int)
        case insideRun
    }

    private struct Page {
        var use = PageUse.free
        var used = 0
        /// The first free chunk that was in use before; -1: none.
        var firstFree: Int32 = -1
        /// Chunks from here on were never used.
        var fresh = 0
        /// Its memory was touched since it was given back.
        var isDirty = false
    }

    private static let sizeCount = 11  // 128 bytes to 128 KiB

    private let base: UnsafeMutableRawPointer
    /// The pages that were ever used; more are added up to `pageCount`.
    private var pages: [Page]
    private let pageCount: Int
    private var withRoom: [[Int]]
    private var freePages: [Int] = []
    private var idleDirtyPages = 0
    /// Free pages beyond this many are given back to the system.
    private let keptPages = 16
    /// Pages whose memory can be given back now; the owner takes the list.
    package private(set) var pagesToDiscard: [Int] = []
    /// Bytes of the chunks in use.
    package private(set) var bytesInUse = 0

    /// - Parameters:
    ///   - base: the region's first byte.
    ///   - pageCount: its size.
    @unsafe
    package init(base: UnsafeMutableRawPointer, pageCount: Int) {
        unsafe self.base = base
        self.pageCount = pageCount
        pages = [Page()]
        withRoom = Array(repeating: [], count: Self.sizeCount)
        // The first unit of the region is never given out, so that 0 can mean "no chunk".
        pages[0].use = .chunks(size: 0)
        pages[0].used = 1
        pages[0].fresh = 1
        withRoom[0] = [0]
    }

    /// A piece of at least that many bytes, as its distance from the region's start in units of 128; nil when none is left.
    package mutating func allocate(_ byteCount: Int) -> UInt32? {
        var size = 0
        while size < Self.sizeCount, ArenaLayout.chunkUnit << size < byteCount { size += 1 }
        return size < Self.sizeCount ? allocateChunk(size) : allocateRun(byteCount)
    }

    /// How many bytes the piece really has.
    package func capacity(of reference: UInt32) -> Int {
        switch pages[page(of: reference)].use {
        case .chunks(let size): ArenaLayout.chunkUnit << size
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

    /// Takes the list of pages to give back.
    package mutating func takePagesToDiscard() -> [Int] {
        defer { pagesToDiscard = [] }
        return pagesToDiscard
    }

    private func page(of reference: UInt32) -> Int {
        Int(reference) * ArenaLayout.chunkUnit / ArenaLayout.pageSize
    }

    private mutating func allocateChunk(_ size: Int) -> UInt32? {
        let byteCount = ArenaLayout.chunkUnit << size
        let perPage = ArenaLayout.pageSize / byteCount
        while let page = withRoom[size].last {
            if case .chunks(size) = pages[page].use, pages[page].used < perPage {
                let chunk = take(from: page, byteCount)
                if pages[page].used == perPage { withRoom[size].removeLast() }
                return chunk
            }
            withRoom[size].removeLast()  // used for something else since
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
        let byteCount = ArenaLayout.chunkUnit << size
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

    /// The first place with so many free pages in a row.
    private func findRun(_ count: Int) -> Int? {
        var run = 0
        for page in 0..<pages.count {
            if case .free = pages[page].use { run += 1 } else { run = 0 }
            if run == count { return page - count + 1 }
        }
        // What is free at the end goes on into pages that were never used.
        let first = pages.count - run
        return first + count <= pageCount ? first : nil
    }
}
