# The SDK's headers: seen by this folder, shipped beside the program, and what `kaon run handler.cc` compiles with.
target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/sdk/c)
target_compile_definitions(${target} PRIVATE KAON_SDK_SOURCE_DIR="${CMAKE_SOURCE_DIR}/sdk")
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/c ${CMAKE_SOURCE_DIR}/sdk/cpp DESTINATION share/kaon/sdk
        FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")

# The functions that the tests and the benchmark load.
if(KAON_TESTS OR KAON_BENCHMARKS)
  foreach(function echo lab async old_abi no_symbol init_fails)
    file(GLOB function_source ${folder}/functions/${function}.c*)
    add_library(native_function_${function} MODULE ${function_source})
    target_include_directories(native_function_${function} PRIVATE ${CMAKE_SOURCE_DIR}/sdk/c ${CMAKE_SOURCE_DIR}/sdk/cpp)
    target_link_libraries(native_function_${function} PRIVATE pthread)
    set_target_properties(native_function_${function} PROPERTIES PREFIX "" OUTPUT_NAME ${function}
                          LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/native_functions)
    foreach(user ${target}_test ${target}_bench)
      if(TARGET ${user})
        add_dependencies(${user} native_function_${function})
        target_compile_definitions(${user} PRIVATE KAON_NATIVE_FUNCTIONS="${CMAKE_BINARY_DIR}/native_functions")
      endif()
    endforeach()
  endforeach()
endif()
