# Fuzzer of the settings, see fuzz_options.c and event.cmake.
add_executable(replay_options ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_options.c
               ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
target_link_libraries(replay_options PRIVATE lb_flusher)
add_test(NAME replay_options
         COMMAND replay_options ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/options)

if(LB_FUZZ)
    add_executable(fuzz_options
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_options.c
                   ${CMAKE_SOURCE_DIR}/flusher/options.c
                   ${CMAKE_SOURCE_DIR}/flusher/values.c)
    target_compile_options(fuzz_options PRIVATE
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
    target_link_options(fuzz_options PRIVATE
        -fsanitize=fuzzer,address,undefined)
    target_link_libraries(fuzz_options PRIVATE PkgConfig::JANSSON)
endif()

# Fuzzer of what ClickHouse answers, see fuzz_answers.c.
add_executable(replay_answers ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_answers.c
               ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
target_link_libraries(replay_answers PRIVATE lb_flusher)
add_test(NAME replay_answers
         COMMAND replay_answers ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/answers)

if(LB_FUZZ)
    add_executable(fuzz_answers
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_answers.c
                   ${CMAKE_SOURCE_DIR}/flusher/clickhouse/question.c)
    target_compile_options(fuzz_answers PRIVATE
        -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined)
    target_link_options(fuzz_answers PRIVATE
        -fsanitize=fuzzer,address,undefined)
    target_link_libraries(fuzz_answers PRIVATE lb_spool)
endif()
