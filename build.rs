//! Compiles `src/allocator.c` for the feature `mimalloc`: the library has no safe way to set its options, and this crate
//! forbids unsafe code.

fn main() {
    println!("cargo:rerun-if-changed=src/allocator.c");
    #[cfg(feature = "mimalloc")]
    if let Some(include) = std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR") {
        for object in cc::Build::new().include(include).file("src/allocator.c").compile_intermediates() {
            // An object and no archive: nothing refers to a constructor, so the linker would leave it in its archive.
            println!("cargo:rustc-link-arg-bins={}", object.display());
        }
    }
}
