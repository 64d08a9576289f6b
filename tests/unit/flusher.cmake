foreach(name test_pace test_options test_judge)
    lb_unit_test(${name} SOURCES ${name}.c LIBS lb_flusher)
endforeach()
