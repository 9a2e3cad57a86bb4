// SPDX-License-Identifier: MIT
// The service that both sides of the gRPC tests speak: messages are bytes, so that no schema has to be compiled.
'use strict';

const same = (bytes) => bytes;

function method(path, requestStream, responseStream) {
  return {
    path, requestStream, responseStream,
    requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same,
  };
}

module.exports = {
  echo: method('/spec.Echo/Echo', false, false),
  count: method('/spec.Echo/Count', true, false),
  repeat: method('/spec.Echo/Repeat', false, true),
  chat: method('/spec.Echo/Chat', true, true),
  refuse: method('/spec.Echo/Refuse', false, false),
  hang: method('/spec.Echo/Hang', false, false),
  cancelled: method('/spec.Echo/Cancelled', false, false),
  unknown: method('/spec.Echo/Unknown', false, false),
  nowhere: method('/none.Service/Nowhere', false, false),
  gone: method('/gone.Service/Gone', false, false),
  denied: method('/denied.Service/Denied', false, false),
};
