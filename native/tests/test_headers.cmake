# Every header is in lightmill.h: run by ctest, so that a new kernel cannot be forgotten there.
file(GLOB headers RELATIVE ${FOLDER} ${FOLDER}/*.h)
file(READ ${FOLDER}/lightmill.h umbrella)
foreach(header ${headers})
  string(FIND "${umbrella}" "#include \"${header}\"" at)
  if(at EQUAL -1 AND NOT header STREQUAL "lightmill.h")
    message(FATAL_ERROR "lightmill.h does not include ${header}")
  endif()
endforeach()
