foreach(name test_pace test_size test_options test_judge test_preflight test_native test_low test_rings test_batch
        test_poison test_states test_deliver test_history)
    lb_unit_test(${name} SOURCES ${name}.c LIBS lb_flusher)
endforeach()

# the flusher's own work, for tests/bench/flusher.sh
find_package(Threads REQUIRED)
add_executable(bench_flusher ${CMAKE_SOURCE_DIR}/tests/bench/flusher.c)
target_link_libraries(bench_flusher PRIVATE lb_flusher Threads::Threads)
set_target_properties(bench_flusher PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

# clusters in simulated time; a test, since it knows who must keep up
add_executable(bench_scale ${CMAKE_SOURCE_DIR}/tests/bench/scale.c)
target_link_libraries(bench_scale PRIVATE lb_flusher)
set_target_properties(bench_scale PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
add_test(NAME bench_scale COMMAND bench_scale)
