# A room is a folder of src/ and a static library of the same name. Each room's headers are reached through an
# include folder of its own, which holds one link to the room; a target gets the include folders of the rooms that it
# names and of those below them. An include of any other room finds no file.

function(kaon_include_folder room out)
  set(folder ${CMAKE_BINARY_DIR}/rooms/${room})
  file(MAKE_DIRECTORY ${folder})
  if(NOT EXISTS ${folder}/${room})
    file(CREATE_LINK ${CMAKE_SOURCE_DIR}/src/${room} ${folder}/${room} SYMBOLIC)
  endif()
  set(${out} ${folder} PARENT_SCOPE)
endfunction()

# kaon_library(<target> ROOM <room> FOLDER <folder> [USES rooms…] [LIBRARIES libs…])
# Sources: *.cc of the folder; *_test.cc, *_bench.cc, *_fuzz.cc become their own programs.
# A folder may bring a room.cmake of its own (modules, programs that its tests need); it sees ${target} and ${folder}.
function(kaon_library target)
  cmake_parse_arguments(ARG "" "ROOM;FOLDER" "USES;LIBRARIES" ${ARGN})
  set(folder ${CMAKE_SOURCE_DIR}/src/${ARG_FOLDER})
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  file(GLOB tests CONFIGURE_DEPENDS ${folder}/*_test.cc)
  file(GLOB benches CONFIGURE_DEPENDS ${folder}/*_bench.cc)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${folder}/*_fuzz.cc)
  file(GLOB modules CONFIGURE_DEPENDS ${folder}/*_module.cc)
  list(REMOVE_ITEM sources ${tests} ${benches} ${fuzzers} ${modules} ${CMAKE_SOURCE_DIR}/src/main.cc)
  kaon_include_folder(${ARG_ROOM} include)
  if(sources)
    add_library(${target} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${target} ${scope} ${include})
  foreach(room ${ARG_USES})
    target_link_libraries(${target} ${scope} kaon_${room})
  endforeach()
  target_link_libraries(${target} ${scope} ${ARG_LIBRARIES})
  if(KAON_TESTS AND tests)
    add_executable(${target}_test ${tests})
    target_link_libraries(${target}_test PRIVATE ${target} gtest gtest_main)
    target_compile_definitions(${target}_test PRIVATE KAON_SOURCE_DIR="${CMAKE_SOURCE_DIR}" KAON_BUILD_DIR="${CMAKE_BINARY_DIR}")
    add_test(NAME ${target} COMMAND ${target}_test)
    set_tests_properties(${target} PROPERTIES TIMEOUT 300)
  endif()
  if(KAON_BENCHMARKS AND benches)
    add_executable(${target}_bench ${benches})
    target_link_libraries(${target}_bench PRIVATE ${target} benchmark benchmark_main)
  endif()
  if(KAON_FUZZ)
    foreach(fuzzer ${fuzzers})
      get_filename_component(name ${fuzzer} NAME_WE)
      add_executable(${name} ${fuzzer})
      target_link_libraries(${name} PRIVATE ${target})
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
  if(EXISTS ${folder}/room.cmake)
    include(${folder}/room.cmake)
  endif()
endfunction()

function(kaon_room room)
  kaon_library(kaon_${room} ROOM ${room} FOLDER ${room} ${ARGN})
endfunction()

# Every folder of src/<family>/ that has a component.cc is one component: a library that defines
# `kaon::<family>::<kind>::component()`. The explicit list of them, `kaon::<family>::all()`, is generated; main passes it on.
function(kaon_components family)
  file(GLOB kinds CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/src/${family} ${CMAKE_SOURCE_DIR}/src/${family}/*/component.cc)
  kaon_library(kaon_${family} ROOM ${family} FOLDER ${family} ${ARGN})
  set(declarations "")
  set(entries "")
  foreach(path ${kinds})
    get_filename_component(kind ${path} DIRECTORY)
    string(APPEND declarations "namespace kaon::${family}::${kind} { const Component& component(); }\n")
    string(APPEND entries "    &${kind}::component(),\n")
  endforeach()
  set(list ${CMAKE_BINARY_DIR}/generated/${family}_all.cc)
  file(CONFIGURE OUTPUT ${list} CONTENT "// Generated from the folders of src/${family}.
#include \"${family}/component.h\"
${declarations}namespace kaon::${family} {
std::span<const Component* const> all() {
  static const Component* const components[] = {
${entries}  };
  return components;
}
}  // namespace kaon::${family}
" @ONLY)
  foreach(path ${kinds})
    get_filename_component(kind ${path} DIRECTORY)
    kaon_library(kaon_${family}_${kind} ROOM ${family} FOLDER ${family}/${kind} ${ARGN})
    target_link_libraries(kaon_${family}_${kind} PUBLIC kaon_${family})
    set(KAON_COMPONENT_TARGETS ${KAON_COMPONENT_TARGETS} kaon_${family}_${kind})
  endforeach()
  set(KAON_COMPONENT_TARGETS ${KAON_COMPONENT_TARGETS} PARENT_SCOPE)
  set(KAON_COMPONENT_LIST ${KAON_COMPONENT_LIST} ${list} PARENT_SCOPE)
endfunction()
