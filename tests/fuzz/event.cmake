# Fuzzers of event/.  With clang and LB_FUZZ they are libFuzzer programs; in
# any build their corpora are replayed as ordinary tests.
option(LB_FUZZ "Build the fuzzers with libFuzzer (needs clang)" OFF)

get_target_property(event_sources lb_event SOURCES)
list(APPEND event_sources explain.c)
list(TRANSFORM event_sources PREPEND ${CMAKE_SOURCE_DIR}/event/)

foreach(part scanner lift)
    set(fuzz_sources
        ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${part}.c
        ${CMAKE_SOURCE_DIR}/tests/fuzz/${part}_oracle.c)
    if(part STREQUAL lift)
        list(APPEND fuzz_sources
             ${CMAKE_SOURCE_DIR}/tests/fuzz/lift_oracle_values.c)
    endif()
    add_executable(replay_${part} ${fuzz_sources}
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    target_link_libraries(replay_${part} PRIVATE lb_event lb_explain)
    add_test(NAME replay_${part}
             COMMAND replay_${part}
                     ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${part})

    if(LB_FUZZ)
        add_executable(fuzz_${part} ${fuzz_sources} ${event_sources})
        target_compile_options(fuzz_${part} PRIVATE
            -fsanitize=fuzzer,address,undefined
            -fno-sanitize-recover=undefined)
        target_link_options(fuzz_${part} PRIVATE
            -fsanitize=fuzzer,address,undefined)
        target_link_libraries(fuzz_${part} PRIVATE PkgConfig::JANSSON)
    endif()
endforeach()

# Input formats: one fuzzer, built once per row of event/format.h.
get_target_property(format_sources lb_format SOURCES)
list(TRANSFORM format_sources PREPEND ${CMAKE_SOURCE_DIR}/event/)

foreach(format bulk datadog datadog_text datadog_logplex
               firehose firehose_inner form gelf logplex loki_json loki_proto
               otlp_json otlp_proto splunk splunk_raw)
    string(REGEX REPLACE "^datadog_.*" "datadog" header ${format})
    if(EXISTS ${CMAKE_SOURCE_DIR}/tests/fuzz/${format}.h)
        set(header tests/fuzz/${format}.h)
    else()
        set(header event/${header}.h)
    endif()
    add_executable(replay_${format}
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_format.c
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    target_compile_options(replay_${format} PRIVATE
        -include ${CMAKE_SOURCE_DIR}/${header}
        -DLB_FUZZ_FORMAT=lb_format_${format})
    target_link_libraries(replay_${format} PRIVATE lb_format)
    add_test(NAME replay_${format}
             COMMAND replay_${format}
                     ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${format})

    if(LB_FUZZ)
        add_executable(fuzz_${format}
                       ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_format.c
                       ${format_sources} ${event_sources})
        target_compile_options(fuzz_${format} PRIVATE
            -include ${CMAKE_SOURCE_DIR}/${header}
            -DLB_FUZZ_FORMAT=lb_format_${format}
            -fsanitize=fuzzer,address,undefined
            -fno-sanitize-recover=undefined)
        target_link_options(fuzz_${format} PRIVATE
            -fsanitize=fuzzer,address,undefined)
        target_link_libraries(fuzz_${format} PRIVATE PkgConfig::JANSSON
                              PkgConfig::ZLIB PkgConfig::DEFLATE)
    endif()
endforeach()

# Frames: gRPC's, and those of many requests in one body.
foreach(part grpc frames)
    add_executable(replay_${part}
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${part}.c
                   ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.c)
    target_link_libraries(replay_${part} PRIVATE lb_format)
    add_test(NAME replay_${part}
             COMMAND replay_${part}
                     ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${part})

    if(LB_FUZZ)
        add_executable(fuzz_${part} ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_${part}.c
                       ${CMAKE_SOURCE_DIR}/event/${part}.c)
        target_compile_options(fuzz_${part} PRIVATE
            -fsanitize=fuzzer,address,undefined
            -fno-sanitize-recover=undefined)
        target_link_options(fuzz_${part} PRIVATE
            -fsanitize=fuzzer,address,undefined)
    endif()
endforeach()
