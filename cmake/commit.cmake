# cmake -DROOT=<source tree> -DOUT=<file.c> -P commit.cmake
# Writes the commit that is built as a C string, only when it has changed. "unknown" without git.
execute_process(COMMAND git -C ${ROOT} describe --always --dirty --abbrev=12 OUTPUT_VARIABLE commit ERROR_QUIET
  OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUT} CONTENT "#include \"cli/bench/origin.h\"\n\nconst char origin_commit[] = \"${commit}\";\n")
