//! What std would bring to the module, without what only std needs of it: messages,
//! places in the source and hooks, which nobody sees there.

use core::panic::PanicInfo;
use dlmalloc::GlobalDlmalloc;

#[global_allocator]
static MEMORY: GlobalDlmalloc = GlobalDlmalloc;

/// Traps, which JavaScript sees as a `WebAssembly.RuntimeError`. Nothing is read from
/// what is given, so the linker drops every message that leads here.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
