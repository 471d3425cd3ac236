#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| harper_server::fuzz::frames(data));
