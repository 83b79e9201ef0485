//! Compiles `src/allocator.c` for the feature `mimalloc`: the library has no safe way to set its options, and this crate
//! forbids unsafe code. And links the static binary with its relocations packed.

fn main() {
    // A static binary that can lie anywhere moves its own pointers when it starts. As bits of a map (DT_RELR) where they
    // are takes 2 kB, as a table 131 kB, all of which is read into memory. musl's start knows both; glibc's loader needs
    // to be a recent one, so that binaries linked to it stay as they are.
    if std::env::var_os("CARGO_CFG_TARGET_ENV").is_some_and(|env| env == "musl") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    println!("cargo:rerun-if-changed=src/allocator.c");
    #[cfg(feature = "mimalloc")]
    if let Some(include) = std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR") {
        for object in cc::Build::new().include(include).file("src/allocator.c").compile_intermediates() {
            // An object and no archive: nothing refers to a constructor, so the linker would leave it in its archive.
            println!("cargo:rustc-link-arg-bins={}", object.display());
        }
    }
}
