# Fuzzer of recovery, see fuzz_recovery.c and event.cmake.
add_executable(replay_recovery ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_recovery.c
               ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
target_link_libraries(replay_recovery PRIVATE lb_spool)
add_test(NAME replay_recovery
         COMMAND replay_recovery ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/recovery)

if(LB_FUZZ)
    get_target_property(spool_sources lb_spool SOURCES)
    list(TRANSFORM spool_sources PREPEND ${CMAKE_SOURCE_DIR}/spool/)
    add_executable(fuzz_recovery
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_recovery.c
                   ${spool_sources})
    target_compile_options(fuzz_recovery PRIVATE
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
    target_link_options(fuzz_recovery PRIVATE
        -fsanitize=fuzzer,address,undefined)
endif()
