//! Memory that was asked of the system, and is not needed any more.

#![allow(unsafe_code)] // a call of the C library without a safe wrapper

/// Gives memory back that the allocator keeps for later, where it is known how: after a long piece of work that took much, in
/// a program that goes on with little.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and no pointer, and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
