/* The options of mimalloc, for the feature of that name. Its defaults (huge pages, freed pages kept) are for programs that
   own their machine. perf/run --binary musl=PATH --binary mimalloc=PATH shows what is left of the difference. */
#include <mimalloc.h>

/* 101 comes before the library's own start, which reads these. */
__attribute__((constructor(101))) static void set_allocator_options(void) {
    mi_option_set_default(mi_option_purge_delay, 0); /* give freed pages back at once */
    mi_option_set_default(mi_option_allow_thp, 0);   /* no huge pages */
}
