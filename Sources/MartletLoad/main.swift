import NIOPosix
import NIOWebSocket
import NIOHTTP1
print("placeholder")
