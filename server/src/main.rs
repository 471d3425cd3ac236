//! The binary `harper-server`.

/// The C library's own allocator is slow under threads in static builds, and keeps what argon2 has used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    harper_server::cli::main()
}
