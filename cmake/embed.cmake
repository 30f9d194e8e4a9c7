# cmake -DOUT=<file.c> -DFILES=<a;b;...> -P embed.cmake
#
# Writes the bytes of each file as a C array named embedded_<name>, dots becoming underscores, with its length beside it.
cmake_minimum_required(VERSION 3.22)
set(text "#include \"trace/viewer.h\"\n")
foreach(file IN LISTS FILES)
  get_filename_component(name ${file} NAME)
  string(MAKE_C_IDENTIFIER ${name} name)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND text "const unsigned char embedded_${name}[] = {${bytes}};\n"
    "const size_t embedded_${name}_bytes = sizeof embedded_${name};\n")
endforeach()
file(WRITE ${OUT} "${text}")
