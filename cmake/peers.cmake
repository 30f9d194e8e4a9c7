# What `dsv4 bench peers` compares with, where it is installed; without oneDNN the suite says what to install. Only the build of
# `make bench-peers` links the program with these libraries: one of them starts threads as soon as it is loaded.
include(CheckCSourceCompiles)
find_library(DNNL_LIBRARY dnnl)
find_library(OPENBLAS_LIBRARY openblas)
mark_as_advanced(DNNL_LIBRARY OPENBLAS_LIBRARY)
check_c_source_compiles("#include <dnnl.h>
#if DNNL_VERSION_MAJOR != 2
#error its interface is another one
#endif
int main(void) { return 0; }" DSV4_HAS_DNNL_2)
if(OPENBLAS_LIBRARY)
  set(CMAKE_REQUIRED_LIBRARIES ${OPENBLAS_LIBRARY})
  check_c_source_compiles("#include <cblas.h>
int main(void) { openblas_set_num_threads(1); return 0; }" DSV4_HAS_OPENBLAS)
  unset(CMAKE_REQUIRED_LIBRARIES)
endif()

if(DNNL_LIBRARY AND DSV4_HAS_DNNL_2)
  file(GLOB peers_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/bench/peers/*.c)
  target_compile_definitions(dsv4_program PRIVATE DSV4_PEERS)
  target_link_libraries(dsv4_program PRIVATE ${DNNL_LIBRARY})
  if(DSV4_HAS_OPENBLAS)
    target_compile_definitions(dsv4_program PRIVATE DSV4_OPENBLAS)
    target_link_libraries(dsv4_program PRIVATE ${OPENBLAS_LIBRARY})
  else()
    list(FILTER peers_sources EXCLUDE REGEX "/openblas\\.c$")
  endif()
  target_sources(dsv4_program PRIVATE ${peers_sources})
endif()
