foreach(name test_record test_dead test_ring test_failures test_acquire
             test_fill test_lasting test_marks test_version test_resume test_recovery test_checkpoint
             test_identity test_model)
    lb_unit_test(${name} SOURCES ${name}.c LIBS lb_spool)
endforeach()

# every moment of recorded runs, see tests/powercut/powercut.c
if(NOT LB_CORE)
    add_executable(powercut ${CMAKE_SOURCE_DIR}/tests/powercut/powercut.c
                   ${CMAKE_SOURCE_DIR}/tests/powercut/disk_model.c)
    target_link_libraries(powercut PRIVATE lb_flusher)
    add_test(NAME powercut COMMAND powercut --seconds 15)
endif()

# empties the rings for tests/bench
add_executable(bench_drain ${CMAKE_SOURCE_DIR}/tests/bench/drain.c)
target_link_libraries(bench_drain PRIVATE lb_spool)
# and sends lines over TCP
add_executable(bench_lines ${CMAKE_SOURCE_DIR}/tests/bench/lines.c)
set_target_properties(bench_drain bench_lines PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
