// A page opened as a file may start no worker; a frame on the same page does the search instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = `<script>
        postMessage = (message) => parent.postMessage(message, "*")
        importScripts = (...urls) => urls.reduce((done, url) => done.then(() => new Promise((loaded) => {
          const script = document.createElement("script")
          script.src = url
          script.onload = loaded
          document.body.append(script)
        })), Promise.resolve())
      </script><script src="${url}"></script>`
      this.ready = new Promise((loaded) => this.frame.addEventListener("load", loaded))
      document.body.append(this.frame)
      this.listener = (event) => {
        if (event.source !== this.frame.contentWindow) return
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        this.onmessage?.(message)
      }
      window.addEventListener("message", this.listener)
    }

    postMessage(message) {
      this.ready.then(() => {
        const target = this.frame.contentWindow
        target.dispatchEvent(new MessageEvent("message", { data: message }))
      })
    }

    terminate() {
      window.removeEventListener("message", this.listener)
      this.frame.remove()
    }
  }
}
