/*
 * Fields of a form, as Python's logging.handlers.HTTPHandler sends the
 * attributes of a record: one event, all of its values strings.
 *
 * Many that send JSON call it a form, such as curl -d: what begins as JSON is
 * JSON.
 */

#ifndef _LB_EVENT_FORM_H_INCLUDED_
#define _LB_EVENT_FORM_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_form;

#endif /* _LB_EVENT_FORM_H_INCLUDED_ */
